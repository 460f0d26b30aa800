"""Program -> LayerGraph: trace, fold, lower, regions; and the cross-check of the graph against the program."""

from lipverify.graph.layer_graph import LayerGraph, Node, Region

__all__ = ["LayerGraph", "Node", "Region"]

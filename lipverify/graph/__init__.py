"""Program -> LayerGraph: trace, fold, lower, regions; and the cross-check of the graph against the program."""

from lipverify.graph.crosscheck import CrossCheckError
from lipverify.graph.layer_graph import LayerGraph, Node, Region, Regions
from lipverify.graph.regions import regions
from lipverify.graph.trace import TraceError, trace

__all__ = ["CrossCheckError", "LayerGraph", "Node", "Region", "Regions", "TraceError", "regions", "trace"]

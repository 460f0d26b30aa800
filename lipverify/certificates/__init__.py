"""Certificates: what an audit proved, as data that a checker without lipverify accepts or refuses."""

from lipverify.certificates.canonical import digest, dumps
from lipverify.certificates.certificate import SCHEMA, certify, graph_of, weights_of

__all__ = ["SCHEMA", "certify", "digest", "dumps", "graph_of", "weights_of"]

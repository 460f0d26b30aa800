"""Certificates of every released schema, with the weights that they speak of.

``python -m tests.certificates.golden`` writes those of the current schema. Of a schema that was released they stay as they
are: what was accepted once must be accepted.
"""

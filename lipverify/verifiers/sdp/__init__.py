"""The SDP verifier: LipSDP-Neuron. A solver proposes multipliers; the matrix inequality is proved without it."""

from lipverify.verifiers.sdp.verifier import SDP

__all__ = ["SDP"]

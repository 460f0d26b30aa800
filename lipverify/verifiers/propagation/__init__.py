"""The propagation verifier: CROWN through auto_LiRPA, on balls around given inputs. Numeric throughout."""

from lipverify.verifiers.propagation.verifier import Propagation

__all__ = ["Propagation"]

"""Yesterday's certificate against today's: is anything that was stated now stated less strongly?"""

from lipverify.baseline.certificate import (
    SCHEMAS,
    Certificate,
    Statement,
    Stored,
    certificate_bytes,
    parse_certificate,
    read_certificate,
)
from lipverify.baseline.comparison import Change, Comparison, Pair, Tolerance, compare

__all__ = [
    "SCHEMAS",
    "Certificate",
    "Change",
    "Comparison",
    "Pair",
    "Statement",
    "Stored",
    "Tolerance",
    "certificate_bytes",
    "compare",
    "parse_certificate",
    "read_certificate",
]

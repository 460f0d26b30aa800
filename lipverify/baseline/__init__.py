"""Yesterday's certificate against today's: is anything that was stated now stated less strongly?"""

from lipverify.baseline.comparison import Change, Comparison, MarginPair, Pair, Tolerance, compare
from lipverify.baseline.reading import SCHEMAS, certificate_bytes, parse_certificate, read_certificate
from lipverify.baseline.stated import Certificate, Margin, Statement, Stored

__all__ = [
    "SCHEMAS",
    "Certificate",
    "Change",
    "Comparison",
    "Margin",
    "MarginPair",
    "Pair",
    "Statement",
    "Stored",
    "Tolerance",
    "certificate_bytes",
    "compare",
    "parse_certificate",
    "read_certificate",
]

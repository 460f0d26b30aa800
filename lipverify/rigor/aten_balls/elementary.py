"""Elementary functions of float64 numbers, each with a proved error: e^x, log, sin, cos, atan, erf.

Nothing of a mathematical library is trusted. exp, sin and cos are reduced to a small interval and summed by Horner's rule
in correctly rounded operations; erf is a series of positive terms; log and atan take the library's value as a guess, and
enclose the distance to it by what exp, sin and cos prove. u = 2^-53 throughout.
"""

from __future__ import annotations

from fractions import Fraction
from math import factorial

import torch

from lipverify.rigor.aten_balls.arithmetic import add, divide, multiply, one, subtract
from lipverify.rigor.aten_balls.ball import TINY, Ball, NotEnclosed, U, constant, error, exact, made

LOG2 = Fraction("0.693147180559945309417232121458176568075500134360255254120680009493393621969694715605863")
HALF_PI = Fraction("1.570796326794896619231321691639751442098584699687552910487472296153908203143104499314017")
ROOT_2 = Fraction("1.414213562373095048801688724209698078569671875376948073176679737990732478462107038850387")
BELOW_HALF_PI = 1.5707963267948966
"""The float64 below pi / 2."""
TWO_OVER_ROOT_PI = Fraction("1.128379167095512573896158903121545171688101258657997713688171443421284936882986828973487")
# The rationals are correct to their last digit, the 87th: their own error is far below the u that every use accounts for.


def exp(x: Ball) -> Ball:
    """e^x. With n = round(x / log 2) and r = x - n log 2, e^x = 2^n e^r.

    - log 2 = L1 + L2, L1 a multiple of 2^-40, so n L1 is exact for |n| <= 2^12. The two differences x - n L1 and that less
      n L2 are at most 0.36 in size: r errs by at most u (0.36 + 0.36) + |n| u 2^-40 (1 + u) < u, so e^r relatively by < 1.1 u.
    - |r| <= 0.35, since n errs by at most 1/2 and rounding. Taylor's polynomial of degree 14 errs by |r|^15 / 15! e^|r|
      < 2^-60. Horner's partial sums are below 1.43; if E bounds their errors, E <= u + 1.43 u + 0.35 (E + 1.43 u)
      (the coefficient, the sum, the product), so E < 4.6 u, and relatively to e^r >= 0.70: < 6.6 u.
    - 2^n is built of its bits and the product with it is exact. Together less than 8 u.
    - |e^X - e^x| <= e^x (e^rho - 1) <= e^x (rho + rho^2) for |X - x| <= rho <= 1.
    - Below -300, e^x < 2^-400: x is raised to -300, and ``TINY`` covers it.

    Raises:
        NotEnclosed: for x above 300, or a radius above 1.
    """
    if not bool((x.radius <= 1.0).all() and (x.midpoint <= 300.0).all()):
        raise NotEnclosed("the exponential of what may be too large, or is known too roughly")
    v = x.midpoint.clamp(min=-300.0)
    high = Fraction(round(LOG2 * 2**40), 2**40)
    n = (v * float(1 / LOG2)).round()
    r = (v - n * float(high)) - n * float(LOG2 - high)
    if not bool((r.abs() <= 0.35).all()):
        raise NotEnclosed("the exponential's argument could not be reduced: a bug in lipverify")
    y = horner(r, [Fraction(1, factorial(k)) for k in range(15)])
    y = y * ((n.to(torch.int64) + 1023) << 52).view(torch.float64)
    return made(y, y * (x.radius + x.radius * x.radius + 10 * U), 8)


def horner(r: torch.Tensor, coefficients: list[Fraction]) -> torch.Tensor:
    """The polynomial with these coefficients, lowest first, in float64."""
    y = torch.full_like(r, float(coefficients[-1]))
    for c in reversed(coefficients[:-1]):
        y = y * r + float(c)
    return y


def log(x: Ball) -> Ball:
    """log x. Of a guess y, log x - y = log(1 + t) with t = x e^-y - 1, and |log(1 + t) - t| <= t^2 for |t| <= 1/2.

    t is enclosed with the ball of x, so no slope is needed.

    Raises:
        NotEnclosed: where x may not be positive, or its ball is wider than half of it.
    """
    if not bool((x.midpoint > TINY).all()):
        raise NotEnclosed("the logarithm of what may not be positive")
    guess = x.midpoint.log()
    t = subtract(multiply(x, exp(exact(-guess))), one())
    reach = t.midpoint.abs() + t.radius
    if not bool((reach <= 0.5).all()):
        raise NotEnclosed("the logarithm of what may not be positive, or is known too roughly")
    return add(exact(guess), made(t.midpoint, t.radius + reach * reach))


def waves(x: Ball) -> tuple[Ball, Ball]:
    """sin x and cos x. With n = round(2 x / pi) and r = x - n pi / 2 both are, up to sign, sin r or cos r.

    - pi / 2 = P1 + P2 + P3, P1 a multiple of 2^-32 and P2 of 2^-64, so n P1 and n P2 are exact for |n| < 2^20. The three
      differences are below 0.8 in size and r errs by at most 3 * 0.8 u + 2^20 2^-65 2 u < 3 u.
    - |r| <= 0.79. In z = r^2 <= 0.63 (relative error u) Horner's partial sums are at most 1 for the first and 1/2 for the
      others, so each series errs by less than u + u + 0.63 (2 u + u / 2 + u / 2) < 4 u, times r with its product
      for the sine; the remainders at r^23 and r^22 are below 2^-70. Together less than 8 u; 16 u is counted.
    - The slope is at most 1.

    Raises:
        NotEnclosed: for |x| above 2^20.
    """
    if not bool((x.midpoint.abs() <= 2.0**20).all()):
        raise NotEnclosed("the sine or cosine of a number above 2^20")
    first = Fraction(round(HALF_PI * 2**32), 2**32)
    second = Fraction(round((HALF_PI - first) * 2**64), 2**64)
    n = (x.midpoint * float(1 / HALF_PI)).round()
    r = ((x.midpoint - n * float(first)) - n * float(second)) - n * float(HALF_PI - first - second)
    if not bool((r.abs() <= 0.79).all()):
        raise NotEnclosed("the sine's argument could not be reduced: a bug in lipverify")
    z = r * r
    sine = r * horner(z, [Fraction((-1) ** k, factorial(2 * k + 1)) for k in range(11)])
    cosine = horner(z, [Fraction((-1) ** k, factorial(2 * k)) for k in range(11)])
    quarter = n.to(torch.int64) % 4
    odd = quarter % 2 == 1
    s, c = torch.where(odd, cosine, sine), torch.where(odd, sine, cosine)
    radius = x.radius + 16 * U
    return (
        made(torch.where(quarter >= 2, -s, s), radius),
        made(torch.where((quarter == 1) | (quarter == 2), -c, c), radius),
    )


def atan(x: Ball) -> Ball:
    """atan x. Of a guess y below pi / 2 in size, atan x - y = atan w, w = (x cos y - sin y) / (cos y + x sin y).

    This holds where the denominator is positive: it is cos(atan x - y) / cos(atan x), so the difference, below pi in size,
    is then below pi / 2. |atan w - w| <= |w|^3 / 3. The slope is at most 1.
    """
    middle = exact(x.midpoint)
    guess = x.midpoint.atan().clamp(-BELOW_HALF_PI, BELOW_HALF_PI)
    sine, cosine = waves(exact(guess))
    below = add(cosine, multiply(middle, sine))
    if not bool((below.midpoint > below.radius).all()):
        raise NotEnclosed("the arc tangent's guess is off: a bug in lipverify")
    w = divide(subtract(multiply(middle, cosine), sine), below)
    reach = w.midpoint.abs() + w.radius
    return add(exact(guess), made(w.midpoint, w.radius + reach * reach * reach + x.radius))


def erf(x: Ball) -> Ball:
    """erf x = 2 / sqrt(pi) e^(-x^2) sum_n 2^n x^(2n+1) / (1 3 5 ... (2n+1)): terms of one sign, so no cancellation.

    - Term n is its predecessor times 2 x^2 / (2n+1): three roundings each, so term n errs by gamma_{4n+2} and the sum of N
      of them by gamma_{5N+2}, relatively. The rest is below the last term once 2 x^2 / (2n+1) <= 1/2.
    - x^2 is rounded by u x^2 <= 36 u before e^(-x^2).
    - Beyond 6, 0 < 1 - erf |x| < e^(-36) < 2^-51: 1 is taken, and 2^-50 covers the difference, of a whole ball too.
    - The slope is at most 2 / sqrt(pi) < 1.129.
    """
    v = x.midpoint.clamp(-6.0, 6.0)
    square = v * v
    top = float(square.max()) if v.numel() else 0.0
    term, series, n = v.clone(), v.clone(), 0
    while n < 400 and (4 * top > 2 * n + 1 or float(term.abs().max()) > 2.0**-80):
        n += 1
        term = term * (2 * square) / (2 * n + 1)
        series = series + term
    bound = series.abs() * error(5 * n + 8) + term.abs()
    y = multiply(multiply(Ball(series, bound), exp(Ball(-square, square * (2 * U)))), constant(TWO_OVER_ROOT_PI))
    tail = x.midpoint.abs() > 6.0
    middle = torch.where(tail, x.midpoint.sign(), y.midpoint)
    drift = torch.where(x.midpoint.abs() - x.radius > 6.0, 0.0, 1.129 * x.radius)
    return made(middle, torch.where(tail, 2.0**-50, y.radius) + drift)

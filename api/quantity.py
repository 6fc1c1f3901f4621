"""Quantities: exact numbers with a suffix, such as `100m`, `1.5Gi` or `1e3`.

Follows k8s.io/apimachinery/pkg/api/resource: nothing finer than 10^-9 is kept (rounded away from zero), nothing beyond
2^63-1, and the canonical form has no fraction and the largest suffix that needs none. A quantity remembers the format
it was written in, and so does what is computed from it.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import Literal

from api.model import QuantityValue

__all__ = ["Quantity", "QuantityValue", "canonical"]

Format = Literal["DecimalSI", "BinarySI", "DecimalExponent"]

FORMAT_WRONG = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
NUMERIC_WRONG = "unable to parse numeric part of quantity"
SUFFIX_WRONG = "unable to parse quantity's suffix"

_SYNTAX = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?([eEinumkKMGTP]*[-+]?[0-9]*)", re.ASCII)
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_DECIMAL_SUFFIX = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_BINARY_SUFFIX = ("", *_BINARY)
_NANO = 10**9
_MAXIMUM = (2**63 - 1) * _NANO
# Upstream's exponents are 32-bit, and Python would gladly compute 10 to a million digits of exponent.
_HIGHEST_EXPONENT = 400


def _round_up(numerator: int, denominator: int) -> int:
    """Division that rounds away from zero."""
    return -(-numerator // denominator) if numerator >= 0 else numerator // denominator


@lru_cache(maxsize=8192)
def _parse(text: str) -> tuple[int, Format]:
    match = _SYNTAX.fullmatch(text)
    if not text or match is None:
        raise ValueError(FORMAT_WRONG)
    sign, whole, fraction, suffix = match.groups()
    digits = whole + (fraction or "")
    if not digits:
        raise ValueError(NUMERIC_WRONG)
    form: Format = "DecimalSI"
    ten = -len(fraction or "")
    binary = 0
    if suffix in _DECIMAL:
        ten += _DECIMAL[suffix]
    elif suffix in _BINARY:
        form, binary = "BinarySI", 10 * _BINARY[suffix]
    elif suffix[0] in "eE" and re.fullmatch(r"[-+]?[0-9]+", suffix[1:]):
        form = "DecimalExponent"
        ten += max(-_HIGHEST_EXPONENT, min(_HIGHEST_EXPONENT, int(suffix[1:])))
    else:
        raise ValueError(SUFFIX_WRONG)
    ten += 9
    mantissa = int(digits) << binary
    nanos = mantissa * 10**ten if ten >= 0 else _round_up(mantissa, 10**-ten)
    nanos = min(nanos, _MAXIMUM)
    if form == "BinarySI" and 0 < nanos < _NANO:
        form = "DecimalSI"
    return (-nanos if sign == "-" else nanos), form


@lru_cache(maxsize=8192)
def _format(nanos: int, form: Format) -> str:
    if nanos == 0:
        return "0"
    sign, amount = ("-", -nanos) if nanos < 0 else ("", nanos)
    if form == "BinarySI" and amount >= 1024 * _NANO and amount % _NANO == 0:
        amount //= _NANO
        power = 0
        while amount % 1024 == 0 and power < len(_BINARY):
            amount, power = amount // 1024, power + 1
        return f"{sign}{amount}{_BINARY_SUFFIX[power]}"
    exponent = -9
    while amount % 1000 == 0 and (form == "DecimalExponent" or exponent < 18):
        amount, exponent = amount // 1000, exponent + 3
    if form == "DecimalExponent":
        return f"{sign}{amount}" + (f"e{exponent}" if exponent else "")
    return f"{sign}{amount}{_DECIMAL_SUFFIX[exponent]}"


class Quantity:
    """An exact amount. Immutable and hashable; equal amounts are equal however they are written.

    `Quantity("100m")`, `Quantity(2)`, `Quantity(0.5)`. Raises ValueError with upstream's message.
    """

    __slots__ = ("_form", "_nanos")
    _nanos: int
    _form: Format

    def __init__(self, value: QuantityValue | Quantity = "0") -> None:
        if isinstance(value, Quantity):
            self._nanos, self._form = value._nanos, value._form
        elif isinstance(value, str):
            self._nanos, self._form = _parse(value)
        elif isinstance(value, int):
            self._nanos, self._form = max(-_MAXIMUM, min(_MAXIMUM, value * _NANO)), "DecimalSI"
        else:
            self._nanos, self._form = _parse(_number_text(value))

    @classmethod
    def from_milli(cls, milli: int, form: Format = "DecimalSI") -> Quantity:
        """A number of thousandths."""
        return cls._make(milli * 10**6, form)

    @classmethod
    def binary(cls, value: int) -> Quantity:
        """A number that is written with binary suffixes, as memory is."""
        return cls._make(value * _NANO, "BinarySI")

    @classmethod
    def _make(cls, nanos: int, form: Format) -> Quantity:
        made = cls.__new__(cls)
        made._nanos, made._form = nanos, form
        return made

    @property
    def value(self) -> int:
        """The amount, rounded away from zero to a whole number."""
        return _round_up(self._nanos, _NANO)

    @property
    def milli(self) -> int:
        """The amount in thousandths, rounded away from zero."""
        return _round_up(self._nanos, 10**6)

    @property
    def fraction(self) -> Fraction:
        """The exact amount."""
        return Fraction(self._nanos, _NANO)

    def __int__(self) -> int:
        return self.value

    def __float__(self) -> float:
        return self._nanos / _NANO

    def __bool__(self) -> bool:
        return self._nanos != 0

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Quantity):
            return self._nanos == other._nanos
        return isinstance(other, int | str | float) and self._nanos == Quantity(other)._nanos

    # All four by hand: functools.total_ordering makes each comparison several times as slow.
    def __lt__(self, other: Quantity | QuantityValue) -> bool:
        return self._nanos < (other if isinstance(other, Quantity) else Quantity(other))._nanos

    def __le__(self, other: Quantity | QuantityValue) -> bool:
        return self._nanos <= (other if isinstance(other, Quantity) else Quantity(other))._nanos

    def __gt__(self, other: Quantity | QuantityValue) -> bool:
        return self._nanos > (other if isinstance(other, Quantity) else Quantity(other))._nanos

    def __ge__(self, other: Quantity | QuantityValue) -> bool:
        return self._nanos >= (other if isinstance(other, Quantity) else Quantity(other))._nanos

    def __hash__(self) -> int:
        return hash(self._nanos)

    def __add__(self, other: Quantity | QuantityValue) -> Quantity:
        other = Quantity(other)
        return self._make(self._nanos + other._nanos, self._form if self._nanos else other._form)

    def __radd__(self, other: QuantityValue) -> Quantity:
        # So that sum() works, which starts with 0.
        return Quantity(other) + self

    def __sub__(self, other: Quantity | QuantityValue) -> Quantity:
        other = Quantity(other)
        return self._make(self._nanos - other._nanos, self._form if self._nanos else other._form)

    def __mul__(self, factor: int | Fraction) -> Quantity:
        product = self._nanos * Fraction(factor)
        return self._make(_round_up(product.numerator, product.denominator), self._form)

    __rmul__ = __mul__

    def __neg__(self) -> Quantity:
        return self._make(-self._nanos, self._form)

    def __str__(self) -> str:
        return _format(self._nanos, self._form)

    def __repr__(self) -> str:
        return f"Quantity({str(self)!r})"


def _number_text(value: float) -> str:
    # A JSON number is parsed by its text, as upstream does; Python writes 1e-07 where no suffix allows "e-07".
    mantissa, _, exponent = repr(value).partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else mantissa.removesuffix(".0")


def canonical(value: QuantityValue) -> str:
    """The canonical form of a quantity as it came on the wire: `1024Mi` is `1Gi`. Raises ValueError."""
    if isinstance(value, str):
        return _format(*_parse(value.strip()))
    return str(Quantity(value))

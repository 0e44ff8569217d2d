# SPDX-License-Identifier: GPL-2.0
"""What a table of scripts/schema is made of, as in rust/policy/schema.rs.

`c_path` is how C names a field in the whole struct, or None if it has no name of its own there;
layout.c alone asks for it.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Field:
    name: str
    offset: int
    kind: object        # Value, Pointer or Array
    constants: tuple = ()
    c_path: str = dataclasses.field(default=None, compare=False)


@dataclasses.dataclass(frozen=True)
class Value:
    width: int
    signed: bool


@dataclasses.dataclass(frozen=True)
class Pointer:
    width: int


@dataclasses.dataclass(frozen=True)
class Array:
    stride: int
    len: object         # the number of elements, or Counted
    fields: tuple


@dataclasses.dataclass(frozen=True)
class Counted:
    count: object       # the field's name; then its Place
    limit: int


@dataclasses.dataclass(frozen=True)
class Place:
    offset: int
    width: int


@dataclasses.dataclass(frozen=True)
class Variant:
    name: str
    c_type: str
    place: Place
    mask: int
    value: int
    constant: str
    at: tuple
    size: int
    fields: tuple


@dataclasses.dataclass(frozen=True)
class Struct:
    c_type: str
    size: int
    direction: str
    fields: tuple
    compat: tuple
    sized_by: Place
    open_ended: bool
    variants: tuple


@dataclasses.dataclass(frozen=True)
class Scalar:
    width: int
    constants: tuple


@dataclasses.dataclass(frozen=True)
class Command:
    name: str
    number: int
    compat_number: int
    handled: tuple
    argument: object    # "None", "Unknown", Scalar or Struct


def short(c_type):
    return c_type.removeprefix("struct ")

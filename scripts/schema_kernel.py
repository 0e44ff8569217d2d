# SPDX-License-Identifier: GPL-2.0
"""Reads a kernel for scripts/schema: its headers as clang sees them, and its source as text."""

import pathlib
import re
import subprocess
import sys
import tempfile

from clang import cindex
from clang.cindex import CursorKind

import schema_irregular as irregular

IRREGULAR = "Correct the tables in scripts/schema_irregular.py."


def fail(message, hint=IRREGULAR):
    sys.exit(f"error: {message}\n       {hint}")


class Kernel:
    """A kernel's source and the folder it was built in."""

    def __init__(self, source, build):
        self.source, build = pathlib.Path(source), pathlib.Path(build)
        if not (self.source / "virt/kvm/kvm_main.c").is_file():
            fail(f"{source} is no kernel source", "scripts/kernel source prints the folder of one.")
        # What `make headers_install` takes out of the headers: annotations for the kernel itself.
        self.empty = tempfile.TemporaryDirectory()
        (pathlib.Path(self.empty.name) / "linux").mkdir()
        (pathlib.Path(self.empty.name) / "linux/compiler.h").touch()
        uapi = [build / "arch/x86/include/generated/uapi", self.source / "arch/x86/include/uapi",
                self.source / "include/uapi"]
        self.options = ["-nostdinc", "-D__EXPORTED_HEADERS__", "-D__user=",
                        "-D__packed=__attribute__((packed))",
                        # The kernel's own: it decides whether a char is signed.
                        "-funsigned-char", "-ferror-limit=0", "-Wno-everything"]
        for folder in [*uapi, self.empty.name]:
            self.options += ["-isystem", str(folder)]
        self.headers = {str(folder / header) for folder in uapi for header in irregular.HEADERS}
        self.units = []     # a type lives as long as what it was parsed from

    def text(self, path):
        try:
            return (self.source / path).read_text()
        except FileNotFoundError:
            return fail(f"this kernel has no {path}")

    def parse(self, lines, bits=64):
        """The headers with some lines of C behind them, and the numbers of those that are wrong."""
        text = "".join(f"#include <{header}>\n" for header in irregular.HEADERS)
        unit = cindex.Index.create().parse(
            "schema.c", args=[f"-m{bits}", *self.options],
            unsaved_files=[("schema.c", text + "\n".join(lines) + "\n")],
            options=cindex.TranslationUnit.PARSE_DETAILED_PROCESSING_RECORD)
        wrong = set()
        for error in unit.diagnostics:
            if error.severity < cindex.Diagnostic.Error:
                continue
            line = error.location.line - len(irregular.HEADERS) - 1
            if not error.location.file or error.location.file.name != "schema.c" or line < 0:
                fail(f"clang could not read the headers: {error}", "Was the kernel prepared?")
            wrong.add(line)
        self.units.append(unit)
        return unit, wrong

    def values(self, expressions, bits=64):
        """The value of each expression that is an integer constant."""
        expressions = list(expressions)
        lines = [f"enum {{ value_of_{at} = ({text}) }};" for at, text in enumerate(expressions)]
        unit, wrong = self.parse(lines, bits)
        found = {}
        for cursor in unit.cursor.get_children():
            for constant in cursor.get_children() if cursor.kind == CursorKind.ENUM_DECL else ():
                if constant.spelling.startswith("value_of_"):
                    at = int(constant.spelling.removeprefix("value_of_"))
                    if at not in wrong:
                        found[expressions[at]] = constant.enum_value & 0xFFFFFFFFFFFFFFFF
        return found

    def types(self, names, before=""):
        """Each C type by its name; `before` is C that declares some of them."""
        names = sorted(names)
        before = before.splitlines()
        lines = [*before, *(f"extern {name} type_{at};" for at, name in enumerate(names))]
        unit, wrong = self.parse(lines)
        if wrong:
            fail(f"this kernel's headers do not know: {[lines[at] for at in sorted(wrong)]}")
        return {names[int(cursor.spelling.removeprefix("type_"))]: cursor.type.get_canonical()
                for cursor in unit.cursor.get_children()
                if cursor.kind == CursorKind.VAR_DECL and cursor.spelling.startswith("type_")}

    def names(self):
        """Every macro and enumerator of the headers: name -> its tokens, none for an enumerator."""
        names, (unit, _) = {}, self.parse([])

        def walk(cursor):
            for child in cursor.get_children():
                if child.location.file and child.location.file.name not in self.headers:
                    continue
                if child.kind == CursorKind.ENUM_CONSTANT_DECL:
                    names.setdefault(child.spelling, [])
                elif child.kind != CursorKind.MACRO_DEFINITION:
                    walk(child)
                elif not cindex.conf.lib.clang_Cursor_isMacroFunctionLike(child):
                    names[child.spelling] = [token.spelling for token in child.get_tokens()][1:]
        walk(unit.cursor)
        return names

    def body(self, where):
        """The text of a function, or of a table."""
        path, name = where.split(":")
        text = self.text(path)
        start = re.search(rf"^[\w \t*]*\b{name}(\([^;{{()]*\)|\[\] =)\s*{{", text, re.M)
        if not start:
            fail(f"{path} has no {name}")
        return text[start.end():text.index("\n}", start.end())]

    def limit(self, limit):
        """How many elements the kernel takes, as its own code says at the place that is named."""
        if isinstance(limit, int):
            return limit
        path, pattern, adjust = limit
        found = re.search(pattern, self.text(path))
        if not found:
            fail(f"{path} does not have '{pattern}': that limit is somewhere else now")
        return adjust(int(found[1], 0))

    def errnos(self):
        """Every error name with its number, in the order of the numbers."""
        done = subprocess.run(["clang", "-E", "-dM", "-x", "c", "-", *self.options], check=True,
                              input="#include <linux/errno.h>\n", capture_output=True, text=True)
        return sorted((int(number), name) for name, number
                      in re.findall(r"^#define (E[A-Z0-9]+) (\d+)$", done.stdout, re.M))

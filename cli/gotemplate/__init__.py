"""Go's text/template on JSON values: `-o go-template`. Scripts written for kubectl use it, so it keeps to Go's letter:
a missing key prints `<no value>`, maps are walked in the order of their keys, numbers and texts never compare.

`lex` cuts the text, `parse` makes the tree, `execute` runs it, `functions` and `fmt` are what templates can call.
"""

from __future__ import annotations

from cli.gotemplate.execute import Template
from cli.gotemplate.lex import TemplateError

__all__ = ["Template", "TemplateError"]

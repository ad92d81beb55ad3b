"""Context-free grammars: sentences as the rules of their derivations, and what sentences of some languages mean.

A grammar is a text in lark's format. `fgcli/grammars/*.lark` ship; `characters` and `selfies` are made of what
sentences are written with.
"""

from fgcli.grammars.grammar import Grammar, NotInGrammar, alphabet

__all__ = ["Grammar", "NotInGrammar", "alphabet"]

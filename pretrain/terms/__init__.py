"""Information terms: what is added to a contrastive base."""

from pretrain.terms.superinfo import SuperInfo
from pretrain.terms.term import Features, Term

__all__ = ["Features", "SuperInfo", "Term"]

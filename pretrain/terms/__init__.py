"""Information terms: what is added to a contrastive base."""

from pretrain.terms.ip import IP
from pretrain.terms.lbe import LBE
from pretrain.terms.mib import MIB
from pretrain.terms.rc import RC
from pretrain.terms.superinfo import SuperInfo
from pretrain.terms.term import EncodedView, Features, Term

__all__ = ["IP", "LBE", "MIB", "RC", "EncodedView", "Features", "SuperInfo", "Term"]

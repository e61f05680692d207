"""Why a tensor of a checkpoint is no part of its encoder."""

import re

REASONS = (
    (r"_momentum$", "a state of the optimizer"),
    (r"proposal_generator|roi_heads|fpn_|mask|bbox|rpn|pixel_(mean|std)$", "a part of the detector"),
    (r"(^|\.)queue", "a queue of keys"),
    (r"prototype", "prototypes of clusters"),
    (r"(^|\.)(proj|neck)|projector|projection", "projection head"),
    (r"predict", "prediction head"),
    (r"momentum|teacher|target|encoder_k", "the momentum encoder, or a head of it; --branch target reads that encoder"),
    (
        r"student|online|encoder_q|base_encoder",
        "the online encoder, or a head of it; --branch online reads that encoder",
    ),
    (r"(^|\.)(fc|linear|classifier|head|heads|cls_score|logit)", "a classifier or another head"),
    (r"decod|recon", "a decoder"),
    (r"bank|center|centre|criterion|loss", "a state of the loss"),
)


def why_left(name: str, prefix: str) -> str:
    """Return why a tensor is no part of the encoder below `prefix`."""
    if prefix and name.startswith(prefix):
        return "a head on top of the encoder: classifier or projection"
    for pattern, reason in REASONS:
        if re.search(pattern, name):
            return reason
    return f"not below `{prefix}`, where the encoder is" if prefix else "in no ResNet of this layout"

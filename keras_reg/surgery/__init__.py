"""Operations on existing models. The common ones, such as `keras_reg.prune`, are exported at the top level."""

from keras_reg.surgery.groups import cut_groups as cut_groups
from keras_reg.surgery.low_rank import LayerRank as LayerRank
from keras_reg.surgery.low_rank import low_rank_report as low_rank_report
from keras_reg.surgery.strip import strip as strip

__all__ = ["LayerRank", "cut_groups", "low_rank_report", "strip"]

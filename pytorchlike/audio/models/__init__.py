"""Models (``torchaudio.models``), with torchaudio's parameter names."""

from .conformer import Conformer
from .conv_tasnet import ConvTasNet, conv_tasnet_base
from .deepspeech import DeepSpeech
from .wav2letter import Wav2Letter
from .wav2vec2 import (
    Wav2Vec2Model,
    hubert_base,
    hubert_large,
    hubert_xlarge,
    wav2vec2_base,
    wav2vec2_large,
    wav2vec2_large_lv60k,
    wav2vec2_model,
    wav2vec2_xlsr_1b,
    wav2vec2_xlsr_2b,
    wav2vec2_xlsr_300m,
)
from .wavernn import WaveRNN

__all__ = [
    "Conformer", "ConvTasNet", "DeepSpeech", "Wav2Letter", "Wav2Vec2Model", "WaveRNN",
    "conv_tasnet_base", "hubert_base", "hubert_large", "hubert_xlarge", "wav2vec2_base", "wav2vec2_large",
    "wav2vec2_large_lv60k", "wav2vec2_model", "wav2vec2_xlsr_1b", "wav2vec2_xlsr_2b", "wav2vec2_xlsr_300m",
]  # fmt: skip

_MISSING = frozenset(
    """Emformer HDemucs HuBERTPretrainModel Hypothesis RNNT RNNTBeamSearch SquimObjective SquimSubjective Tacotron2
    emformer_rnnt_base emformer_rnnt_model hdemucs_high hdemucs_low hdemucs_medium hubert_pretrain_base
    hubert_pretrain_large hubert_pretrain_model hubert_pretrain_xlarge squim_objective_base squim_objective_model
    squim_subjective_base squim_subjective_model wavlm_base wavlm_large wavlm_model""".split()
)


def __getattr__(name: str) -> object:
    if name in _MISSING:
        raise AttributeError(f"torchaudio's model {name} is not provided here; there are {', '.join(__all__)}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Models with trained weights (``torchaudio.pipelines``): those of wav2vec 2.0 and HuBERT, in English."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ... import Tensor, hub, nn
from ..models import wav2vec2 as _models

_ASR_LABELS = tuple("-|ETAONIHSRDLUMWCFGYPBVK'XJQZ")


class _Normalized(nn.Module):
    """A model whose waveforms are brought to mean 0 and variance 1 first."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> Any:
        return self.model(nn.functional.layer_norm(waveforms, waveforms.shape), lengths)

    def extract_features(
        self, waveforms: Tensor, lengths: Tensor | None = None, num_layers: int | None = None
    ) -> tuple[list[Tensor], Tensor | None]:
        waveforms = nn.functional.layer_norm(waveforms, waveforms.shape)
        return self.model.extract_features(waveforms, lengths, num_layers)


@dataclass(frozen=True)
class Wav2Vec2Bundle:
    """A model, the file of its weights, and what it expects of waveforms."""

    _path: str
    _build: str
    _normalize_waveform: bool = False
    _sample_rate: int = 16000

    @property
    def sample_rate(self) -> int:
        """Samples a second of the waveforms that the weights were trained with."""
        return self._sample_rate

    def _aux(self) -> int | None:
        return None

    def _weights(self, found: dict[str, Tensor]) -> dict[str, Tensor]:
        return found

    def get_model(self, *, dl_kwargs: dict[str, Any] | None = None) -> nn.Module:
        """The model with its weights, in evaluation mode; they are downloaded into the hub's folder, once.

        Raises urllib.error.URLError if they cannot be.
        """
        model = getattr(_models, self._build)(aux_num_out=self._aux())
        url = f"https://download.pytorch.org/torchaudio/models/{self._path}"
        model.load_state_dict(self._weights(hub.load_state_dict_from_url(url, **(dl_kwargs or {}))))
        return (_Normalized(model) if self._normalize_waveform else model).eval()


@dataclass(frozen=True)
class Wav2Vec2ASRBundle(Wav2Vec2Bundle):
    """A model fine-tuned for speech recognition with CTC; its classes are :meth:`get_labels`."""

    def get_labels(self, *, blank: str = "-") -> tuple[str, ...]:
        """The classes' letters: the blank, the word boundary "|", and the alphabet."""
        return (blank, *_ASR_LABELS[1:])

    def _aux(self) -> int:
        return len(_ASR_LABELS)

    def _weights(self, found: dict[str, Tensor]) -> dict[str, Tensor]:
        # the files have three classes more, <pad>, </s> and <unk>, which CTC never uses
        for key in ("aux.weight", "aux.bias"):
            value = found[key]
            if value.shape[0] == len(_ASR_LABELS) + 3:
                keep = [i for i in range(value.shape[0]) if i not in (1, 2, 3)]
                found[key] = value[keep]
        return found


def _asr(path: str, build: str, normalize: bool = False) -> Wav2Vec2ASRBundle:
    return Wav2Vec2ASRBundle(path, build, normalize)


WAV2VEC2_BASE = Wav2Vec2Bundle("wav2vec2_fairseq_base_ls960.pth", "wav2vec2_base")
WAV2VEC2_LARGE = Wav2Vec2Bundle("wav2vec2_fairseq_large_ls960.pth", "wav2vec2_large")
WAV2VEC2_LARGE_LV60K = Wav2Vec2Bundle("wav2vec2_fairseq_large_lv60k.pth", "wav2vec2_large_lv60k", True)
WAV2VEC2_XLSR53 = Wav2Vec2Bundle("wav2vec2_fairseq_large_xlsr53.pth", "wav2vec2_large_lv60k", True)
WAV2VEC2_XLSR_300M = Wav2Vec2Bundle("wav2vec2_xlsr_300m.pth", "wav2vec2_xlsr_300m", True)
HUBERT_BASE = Wav2Vec2Bundle("hubert_fairseq_base_ls960.pth", "hubert_base")
HUBERT_LARGE = Wav2Vec2Bundle("hubert_fairseq_large_ll60k.pth", "hubert_large", True)
HUBERT_XLARGE = Wav2Vec2Bundle("hubert_fairseq_xlarge_ll60k.pth", "hubert_xlarge", True)
HUBERT_ASR_LARGE = _asr("hubert_fairseq_large_ll60k_asr_ls960.pth", "hubert_large", True)
HUBERT_ASR_XLARGE = _asr("hubert_fairseq_xlarge_ll60k_asr_ls960.pth", "hubert_xlarge", True)
WAV2VEC2_ASR_BASE_10M = _asr("wav2vec2_fairseq_base_ls960_asr_ll10m.pth", "wav2vec2_base")
WAV2VEC2_ASR_BASE_100H = _asr("wav2vec2_fairseq_base_ls960_asr_ls100.pth", "wav2vec2_base")
WAV2VEC2_ASR_BASE_960H = _asr("wav2vec2_fairseq_base_ls960_asr_ls960.pth", "wav2vec2_base")
WAV2VEC2_ASR_LARGE_10M = _asr("wav2vec2_fairseq_large_ls960_asr_ll10m.pth", "wav2vec2_large")
WAV2VEC2_ASR_LARGE_100H = _asr("wav2vec2_fairseq_large_ls960_asr_ls100.pth", "wav2vec2_large")
WAV2VEC2_ASR_LARGE_960H = _asr("wav2vec2_fairseq_large_ls960_asr_ls960.pth", "wav2vec2_large")
WAV2VEC2_ASR_LARGE_LV60K_10M = _asr("wav2vec2_fairseq_large_lv60k_asr_ll10m.pth", "wav2vec2_large_lv60k", True)
WAV2VEC2_ASR_LARGE_LV60K_100H = _asr("wav2vec2_fairseq_large_lv60k_asr_ls100.pth", "wav2vec2_large_lv60k", True)
WAV2VEC2_ASR_LARGE_LV60K_960H = _asr("wav2vec2_fairseq_large_lv60k_asr_ls960.pth", "wav2vec2_large_lv60k", True)

__all__ = sorted(n for n in globals() if n.startswith(("WAV2VEC2_", "HUBERT_", "Wav2Vec2")))


def __getattr__(name: str) -> object:
    raise AttributeError(
        f"module {__name__!r} has no attribute {name!r}; of torchaudio's pipelines there are wav2vec 2.0's and "
        "HuBERT's in English"
    )

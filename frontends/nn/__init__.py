"""Which layers, losses and initializers make a neural network?  This list: PyTorch's names as functions of pytrees.

`model(x)` infers; `result, model = nn.apply(model, x, key=key)` is one application in training (see training.py). A
model is a tree of its parameters, so that lm.grad, lm.optim, lm.jit and lm.tree take it as it is.
"""

from types import ModuleType as _Python

from . import initializers
from .activations import (CELU, ELU, GELU, GLU, SELU, Hardsigmoid, Hardswish, Hardtanh, LeakyReLU, LogSigmoid,
                          LogSoftmax, Mish, PReLU, ReLU, ReLU6, Sigmoid, SiLU, Softmax, Softplus, Softsign, Tanh)
from .attention import KeyValueCache, MultiHeadAttention, MultiheadAttention, rotate, sinusoidal_embedding
from .containers import Flatten, Function, Identity, Sequential
from .convolution import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from .ctc import ctc_loss
from .dropout import ChannelDropout, Dropout, Dropout1d, Dropout2d, Dropout3d, DropPath
from .linear import Bilinear, Embedding, Linear
from .losses import (binary_cross_entropy, binary_cross_entropy_with_logits, cross_entropy, gaussian_nll_loss,
                     hinge_loss, huber_loss, kl_div, l1_loss, mse_loss, nll_loss, poisson_nll_loss, smooth_l1_loss,
                     soft_margin_loss)
from .module import Module, buffer, map_modules
from .normalization import (BatchNorm1d, BatchNorm2d, BatchNorm3d, GroupNorm, InstanceNorm1d, InstanceNorm2d,
                            InstanceNorm3d, LayerNorm, RMSNorm)
from .parameters import (buffers, combine, count_parameters, load, load_state_dict, parameters, partition, save,
                         state_dict, summary)
from .pooling import (AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveAvgPool3d, AdaptiveMaxPool1d, AdaptiveMaxPool2d,
                      AdaptiveMaxPool3d, AvgPool1d, AvgPool2d, AvgPool3d, MaxPool1d, MaxPool2d, MaxPool3d,
                      PixelShuffle, Upsample)
from .recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell
from .similarity import (contrastive_loss, cosine_embedding_loss, cosine_similarity, hinge_embedding_loss,
                         margin_ranking_loss, pairwise_distance, triplet_margin_loss)
from .training import apply
from .transformer import TransformerDecoder, TransformerDecoderLayer, TransformerEncoder, TransformerEncoderLayer

__all__ = ["initializers", *(name for name, value in globals().items()
                             if not name.startswith("_") and not isinstance(value, _Python))]

"""The six networks of the paper as one module."""

from collections.abc import Callable, Collection

from torch import nn

from bilayer.model.config import NETWORKS, ModelConfig, NetworkName
from bilayer.model.networks.discriminator import Discriminator
from bilayer.model.networks.embedders import IdentityEmbedder, KeypointsEmbedder
from bilayer.model.networks.enhancer import TextureEnhancer
from bilayer.model.networks.generators import InferenceGenerator, TextureGenerator
from bilayer.model.seeds import seeded
from bilayer.runtime.errors import CheckpointError

BUILDERS: dict[NetworkName, Callable[[ModelConfig], nn.Module]] = {
    "identity_embedder": IdentityEmbedder,
    "keypoints_embedder": KeypointsEmbedder,
    "texture_generator": TextureGenerator,
    "inference_generator": InferenceGenerator,
    "texture_enhancer": TextureEnhancer,
    "discriminator": Discriminator,
}


class BilayerModel(nn.Module):
    """The networks that a checkpoint has, under their published names. Those it lacks raise when used."""

    identity_embedder: IdentityEmbedder
    keypoints_embedder: KeypointsEmbedder
    texture_generator: TextureGenerator
    inference_generator: InferenceGenerator
    texture_enhancer: TextureEnhancer
    discriminator: Discriminator

    def __init__(self, config: ModelConfig, networks: Collection[NetworkName] = NETWORKS) -> None:
        super().__init__()
        self.config = config
        for name in NETWORKS:
            if name in networks:
                self.add_module(name, BUILDERS[name](config))

    @property
    def networks(self) -> tuple[NetworkName, ...]:
        """The names of the networks that are there."""
        return tuple(name for name in NETWORKS if name in self._modules)

    def require(self, *names: NetworkName) -> None:
        """Raise a CheckpointError unless the named networks are there."""
        missing = [name for name in names if name not in self._modules]
        if missing:
            raise CheckpointError(f"the checkpoint has no {', '.join(missing)}; it has {', '.join(self.networks)}")


def random_model(config: ModelConfig, seed: int = 0, networks: Collection[NetworkName] = NETWORKS) -> BilayerModel:
    """Return an untrained model for tests and timing, the same for the same seed. Its batch norms are given random
    statistics, so that none of them is a no-op; the caller's random state is left as it was.
    """
    with seeded(seed):
        model = BilayerModel(config, networks).eval()
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                assert layer.running_mean is not None
                assert layer.running_var is not None
                layer.running_mean.normal_(std=0.1)
                layer.running_var.uniform_(0.5, 1.5)
                if layer.affine:
                    nn.init.uniform_(layer.weight, 0.5, 1.5)
                    nn.init.normal_(layer.bias, std=0.1)
    return model

"""The paper's networks in the order in which they run: embedders, projector, generators, enhancer; discriminator."""

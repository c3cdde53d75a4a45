"""One head for each result: in integers a warp shares no range with a mask whose numbers are fifty times as large."""

from dataclasses import replace

from bilayer.export.network.layers import Activation, Concat, Conv, FoldedGenerator, Layer


def with_heads_apart(generator: FoldedGenerator) -> FoldedGenerator:
    """Return the same network, a last convolution and activation of several results split into one of each per result.

    Their outputs are put together again under the tensor's name, so that the network's ends stay.
    """
    made = {layer.name: layer for layer in generator.layers}
    apart: dict[str, list[Layer]] = {}  # what takes the place of a layer, by its name
    for tensor in generator.output_tensors:
        results = {name: channels for name, channels in generator.outputs.by_name.items() if channels.tensor == tensor}
        last = made[tensor]
        head = made.get(last.inputs[0]) if isinstance(last, Activation) else None
        if len(results) < 2 or not isinstance(last, Activation) or not isinstance(head, Conv):
            continue
        places = [(f".{name}", slice(channels.start, channels.stop)) for name, channels in results.items()]
        apart[head.name] = [
            replace(head, name=head.name + end, weight=head.weight[place], bias=head.bias[place])
            for end, place in places
        ]
        ends: list[Layer] = [replace(last, name=tensor + end, inputs=(head.name + end,)) for end, _ in places]
        apart[tensor] = [*ends, Concat(tensor, tuple(end.name for end in ends))]
    layers = [new for layer in generator.layers for new in apart.get(layer.name, [layer])]
    return replace(generator, layers=tuple(layers))

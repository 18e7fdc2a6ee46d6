"""Bytes of a run on a device, from the model's shape and the configuration; pure arithmetic."""

from dataclasses import dataclass

FLOAT = 4  # bytes of what is always float32: adapters, AdamW's moments, copies, gradients in a step


@dataclass(frozen=True)
class ModelShape:
    """What a model's memory depends on."""

    parameters: int
    trainable: int
    layers: int
    hidden: int
    heads: int  # key/value heads
    head_width: int
    vocabulary: int
    itemsize: int  # bytes of a weight
    trained_itemsize: int  # bytes of a weight that trains: an adapter's are always float32
    rollout_itemsize: int  # bytes of a weight of the engine's copy, and of a key or value

    @property
    def token_bytes(self) -> int:
        """Returns the bytes of the keys and values of one token."""
        return 2 * self.layers * self.heads * self.head_width * self.rollout_itemsize


@dataclass(frozen=True)
class Memory:
    """Bytes. A process that learns and plays holds all of it; an actor weights, copy and cache."""

    weights: int
    gradients: int
    optimizer: int
    reference: int
    activations: int  # of one micro-batch; an estimate
    rollout_copy: int
    cache: int  # keys and values, the most that the engine may take
    replay: int  # in the memory of the machine, not of the GPU

    @property
    def state(self) -> int:
        """Returns the bytes that training alone keeps on the device, which ranks can shard."""
        return self.weights + self.gradients + self.optimizer + self.reference

    @property
    def learner(self) -> int:
        """Returns the bytes on a device that learns and plays."""
        return self.state + self.activations + self.rollout_copy + self.cache

    def sharded(self, ranks: int) -> int:
        """Returns the bytes on such a device if ranks share the state, as FSDP2 does."""
        return self.learner - self.state + -(-self.state // ranks)

    @property
    def actor(self) -> int:
        """Returns the bytes on a device that only plays."""
        return self.weights + self.rollout_copy + self.cache


def memory(
    shape: ModelShape,
    *,
    reference: bool,
    micro_batch_tokens: int,
    checkpointed: bool,
    cache: int,
    trees: int,
    tree_bytes: float,
) -> Memory:
    """Returns the bytes of a run; `cache` is the engine's budget, `trees` counts the replay's."""
    trained = shape.trainable * shape.trained_itemsize
    return Memory(
        weights=shape.parameters * shape.itemsize,
        gradients=FLOAT * shape.trainable,
        optimizer=FLOAT * shape.trainable * (3 if shape.trained_itemsize < FLOAT else 2),
        reference=trained * reference,
        activations=activation_bytes(shape, micro_batch_tokens, checkpointed=checkpointed),
        rollout_copy=shape.parameters * shape.rollout_itemsize,
        cache=cache,
        replay=round(trees * tree_bytes),
    )


def activation_bytes(shape: ModelShape, tokens: int, *, checkpointed: bool) -> int:
    """Returns the bytes of the activations of one micro-batch, an estimate.

    34 bytes a token, layer and unit of width at 16 bits without the attention matrix, or 2 if each
    layer is computed again (Korthikanti et al. 2022, table 2); and the logits and their gradient in
    fp32, were every token to be read.
    """
    layer = (2 if checkpointed else 34) * shape.hidden * shape.itemsize // 2
    again = 34 * shape.hidden * shape.itemsize // 2 if checkpointed else 0  # the layer at work
    return tokens * (shape.layers * layer + again + 2 * 4 * shape.vocabulary)


def paths_held(shape: ModelShape, cache: int, length: int) -> int:
    """Returns how many paths of full length have room for their keys and values in the cache."""
    return cache // (shape.token_bytes * length)


def replay_trees(problems: int, max_age: int, capacity: int) -> int:
    """Returns the number of trees in the replay once it is full."""
    return min(problems * (max_age + 1), capacity)

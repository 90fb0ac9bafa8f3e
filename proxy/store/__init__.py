"""The content-addressed store of checkpoints, on a disk or wherever fsspec reaches."""

from proxy.store.files import Step
from proxy.store.store import Address, Batch, Store, address_of

__all__ = ["Address", "Batch", "Step", "Store", "address_of"]

"""What is told of a device: all as natively, but for what differs by design."""

from __future__ import annotations

import pyopencl as cl
from common import setup, show

context, queue = setup()
device = context.devices[0]
OTHERWISE = {  # what cannot be had through a proxy, or is another's by its nature
    "PLATFORM", "PARENT_DEVICE", "PARENT_DEVICE_EXT", "REFERENCE_COUNT", "REFERENCE_COUNT_EXT",
    "DRIVER_VERSION", "SPIR_VERSIONS", "HOST_UNIFIED_MEMORY", "EXECUTION_CAPABILITIES",
    "SVM_CAPABILITIES",
    "PARTITION_PROPERTIES", "PARTITION_MAX_SUB_DEVICES", "PARTITION_AFFINITY_DOMAIN",
    "PARTITION_TYPES_EXT", "PARTITION_STYLE_EXT", "AFFINITY_DOMAINS_EXT", "PARTITION_TYPE",
}  # fmt: skip
for name in sorted(vars(cl.device_info)):
    if name.startswith("_") or not name.isupper() or name in OTHERWISE:
        continue
    try:
        value = device.get_info(getattr(cl.device_info, name))
    except cl.Error as error:
        value = cl.status_code.to_string(error.code)
    if name == "EXTENSIONS":
        value = value.split()
    elif isinstance(value, list):
        value = [getattr(each, "name", each) for each in value]
    show(name, value)
show("context", (context.num_devices, context.reference_count))
show("queue", (queue.properties, queue.device == device, queue.context == context))

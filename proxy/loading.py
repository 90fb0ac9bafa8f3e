"""A program on its way into a session: built in a thread where the session's device allows it.

The session that asked waits, others go on. Nobody sees the program before its build is over, and
the session may meanwhile be stored, moved and swapped out: who takes it up builds anew.
"""

from __future__ import annotations

from hal.types import ProgramImage
from proxy.aside import Aside, Errand
from proxy.tenant import Tenant

MAX_BUILDS = 2  # at once, of one server: each keeps a processor busy


class Loading:
    def __init__(
        self, tenant: Tenant, handle: int, image: ProgramImage, aside: Aside | None
    ) -> None:
        """Without `aside` it is built while everybody waits."""
        self._tenant = tenant
        self._handle = handle
        self._image = image
        self._aside = aside
        self._build: Errand[None] | None = None

    def poll(self) -> bool:
        """True once it is loaded. Raises HalError, RemoteProtocolError."""
        tenant, objects = self._tenant, self._tenant.objects
        build = None if self._aside is None else objects.builder(self._image)
        if build is None or self._aside is None:
            objects.load(self._handle, self._image)
            return True
        if self._build is None:
            if tenant.builds:
                return False  # one that nobody wants any more is still under way
            self._build = tenant.build = self._aside.start(build)
        if self._build is None or not self._build.done:
            return False
        objects.adopt(self._handle, self._image, self._build)
        return True

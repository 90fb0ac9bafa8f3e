"""The native halves of the proxy: an OpenCL driver for programs, an engine for servers."""

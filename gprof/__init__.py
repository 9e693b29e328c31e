"""gprof: a sampling profiler for virtual machines that knows the guest's symbols."""

__version__ = "0.1.0"

"""What can be sampled here, what it costs, and what is missing."""

from gprof.checkup.check import Check, Verdict
from gprof.checkup.examination import examine

__all__ = ["Check", "Verdict", "examine"]

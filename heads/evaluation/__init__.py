"""How good a head is: metrics with intervals by patient, calibration, curves. Nothing here needs JAX."""

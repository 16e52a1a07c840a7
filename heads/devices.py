"""What JAX computes on here."""


def jax_devices() -> list[str]:
    import jax

    return [f"{device.platform}:{device.id} {device.device_kind}" for device in jax.devices()]

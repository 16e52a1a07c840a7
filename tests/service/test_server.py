"""What a service listens on."""

import pytest

from embedstore.errors import ConfigError
from embedstore.service.server import _bound, url_of


def test_unix_socket_is_for_the_user_and_the_group_and_outlives_no_service(tmp_path):
    path = tmp_path / "a.sock"
    with _bound(str(path), 0) as listening:
        assert url_of(listening) == f"unix:{path}" and path.stat().st_mode & 0o777 == 0o660
        with pytest.raises(ConfigError, match="in use"):
            _bound(str(path), 0)
    assert path.is_socket()  # of a service that was killed
    _bound(str(path), 0).close()
    path.unlink()
    path.write_text("a file of the user")
    with pytest.raises(ConfigError, match="cannot be listened on"):
        _bound(str(path), 0)
    assert path.read_text() == "a file of the user"

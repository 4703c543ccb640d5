"""Run as a program of its own: says hello to a registry as Docker would, and how far it came.

`greet.py HOST[:PORT] PROXY AUTHORITY…` prints a line: the rung it got to (`name`, `connection`, `certificate`,
`clock`, `answer`, `ok`) and what was said there. Only the standard library: it runs with `-I -S`.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import sys
from urllib.parse import urlsplit

SECONDS = 6.0
# OpenSSL's numbers: a certificate that is not valid yet, or no more.
NOT_TODAY = (9, 10)


def greet(host: str, proxy: str, authorities: list[str]) -> tuple[str, str]:
    """The rung, and the words. To be asked for a login is an answer too."""
    name, _, port = host.partition(":")
    trust = ssl.create_default_context()
    # Python 3.13 is stricter about authorities of one's own than Docker is.
    trust.verify_flags &= ~ssl.VERIFY_X509_STRICT
    try:
        for file in authorities:
            trust.load_verify_locations(cafile=file)
    except (ssl.SSLError, OSError) as error:
        return "certificate", f"{file}: {error}"
    at = urlsplit(proxy)
    first, first_port = (at.hostname or "", at.port or 3128) if proxy else (name, int(port or 443))
    connection = http.client.HTTPSConnection(first, first_port, timeout=SECONDS, context=trust)
    if proxy:
        connection.set_tunnel(name, int(port or 443))
    try:
        connection.request("GET", "/v2/")
        return "ok", str(connection.getresponse().status)
    except ssl.SSLCertVerificationError as error:
        return ("clock" if error.verify_code in NOT_TODAY else "certificate"), error.verify_message
    except ssl.SSLError as error:
        return "answer", str(error.reason or error)
    except socket.gaierror as error:
        return "name", f"{first}: {error.strerror}"
    except OSError as error:
        return "connection", error.strerror or str(error)
    except http.client.HTTPException as error:
        return "answer", str(error) or type(error).__name__
    finally:
        connection.close()


if __name__ == "__main__":
    print(*greet(sys.argv[1], sys.argv[2], sys.argv[3:]))

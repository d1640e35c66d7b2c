# SPDX-License-Identifier: Apache-2.0
"""urllib_get.py URL: prints status and SHA-256 of the body."""
import hashlib
import sys
import urllib.request

with urllib.request.urlopen(sys.argv[1], timeout=4) as answer:
    print(answer.status, hashlib.sha256(answer.read()).hexdigest())

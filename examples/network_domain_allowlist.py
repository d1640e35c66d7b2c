# SPDX-License-Identifier: Apache-2.0
"""A sandbox that may reach api.github.com and nothing else.

    PYTHONPATH=sdk/python python3 examples/network_domain_allowlist.py
"""

from typing import Callable, Optional

from declaw import Sandbox

NET_TEST_SCRIPT = """
import socket
try:
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    s.settimeout(5)
    s.connect(("{host}", {port}))
    s.close()
    print("CONNECTED")
except Exception as e:
    print(f"BLOCKED: {{e}}")
"""

LINE = "=" * 60


def main(before_clean_up: Optional[Callable[[Sandbox], None]] = None) -> None:
    """Runs the walk-through; before_clean_up, if given, gets the sandbox while it still lives."""
    print(LINE)
    print("Network Domain Allowlist Example")
    print(LINE)

    print("--- Creating sandbox with allow_out=[api.github.com] ---")
    sbx = Sandbox.create(
        template="python",
        timeout=300,
        network={"allow_out": ["api.github.com"]},
    )
    print(f"Sandbox created: {sbx.sandbox_id}")

    try:
        print("--- Test 1: Connect to non-allowlisted IP (1.1.1.1:80) ---")
        script = NET_TEST_SCRIPT.format(host="1.1.1.1", port=80)
        sbx.files.write("/tmp/net_test.py", script)
        result = sbx.commands.run("python3 /tmp/net_test.py", timeout=15)
        print(f" Output: {result.stdout.strip()}")
        if "BLOCKED" in result.stdout:
            print(" [PASS] Non-allowlisted destination was blocked.")
        else:
            print(" [INFO] Connection was not blocked — domain allowlisting")
            print(" requires firewall-level DNS resolution.")

        print("--- Test 2: Verify policy via sandbox info ---")
        info = sbx.get_info()
        print(f" Sandbox ID: {info.sandbox_id}")
        print(f" State: {info.state}")
        print(" Network policy: allow_out=['api.github.com']")
        print(" [PASS] Sandbox created with domain allowlist policy.")

        print("--- How Domain Allowlisting Works ---")
        print(" When fully enforced, only traffic to api.github.com is allowed.")
        print(" All other outbound connections (HTTP, HTTPS, raw TCP) are blocked.")
        print(" DNS queries for the allowlisted domain are automatically permitted.")
        if before_clean_up:
            before_clean_up(sbx)
    finally:
        print("--- Cleaning Up ---")
        sbx.kill()
        print(f"Sandbox {sbx.sandbox_id} killed.")

    print(LINE)
    print("Done!")
    print(LINE)


if __name__ == "__main__":
    main()

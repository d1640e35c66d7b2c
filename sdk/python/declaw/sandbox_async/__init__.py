# SPDX-License-Identifier: Apache-2.0
"""The client for coroutines. `declaw.api.lanes` says how it runs blocking calls, and how many."""

# SPDX-License-Identifier: Apache-2.0
"""Data of sandboxes, shared by every flavour of client."""

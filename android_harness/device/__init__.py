"""The phone: adb, its state, what runs there."""

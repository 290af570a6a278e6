"""The sending of tasks: each gets its record before its message leaves; and the settings that sending relies on."""

"""What runs within the emulator's process, in an environment that has the emulator and nothing of Pegasus's.

Nothing in here imports more of Pegasus than this package and the grades, which need only the standard library.
"""

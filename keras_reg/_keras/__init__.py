"""Everything that depends on the internals of Keras. `docs/architecture.md` lists the workarounds and their tests."""

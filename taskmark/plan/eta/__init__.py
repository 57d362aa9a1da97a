"""How long what is left of an execution will take, as a distribution: a pure function of the definition, the
states of its steps, what earlier executions took, and the time."""

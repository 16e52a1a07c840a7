"""How good heads are on slides of other places than those that they were fitted on."""

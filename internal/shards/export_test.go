package shards

// Unclaimed is for the test that holds it to node/app's word.
const Unclaimed = unclaimed

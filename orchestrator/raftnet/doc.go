// Package raftnet carries Raft between servers. Before a connection carries any of it, both ends say which cluster and
// which server they are, and which one is meant: so neither two clusters that were mixed up, nor a server that has taken
// another's address, ever hears what is not for it. A follower that lost its disk, and with it what it voted for, has a new
// id; its old one's messages must not reach it.
package raftnet

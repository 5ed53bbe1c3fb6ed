// Package containers starts what deploy/ ships for containers on a real engine, and watches from outside: deploy/compose is
// scaled by one number, its primary killed, its containers made anew; deploy/swarm is deployed on a swarm of this machine,
// scaled, killed and updated task by task.
//
// It is behind the tag containers (make containers), and a part of `make test` where there is an engine. $COMPOSE is the
// compose program to use, docker-compose otherwise, or docker's plugin.
//
// It does not promise anything of a swarm of several machines: this one has one, so that the stack's rule of one member on
// each machine is lifted, and its etcd runs beside it.
package containers

# A pgkeeper cluster with Terraform's docker provider: `nodes` equal members, no list of primaries and replicas.
#
#   terraform apply -var nodes=4
#
# Who is primary is decided by the members while they run, so Terraform neither knows nor keeps it: a failover leaves no
# difference to the plan.

terraform {
  required_providers {
    docker = {
      source  = "kreuzwerker/docker"
      version = "~> 3.0"
    }
  }
}

provider "docker" {}

variable "nodes" {
  description = "Members of the cluster: one of them is the primary."
  type        = number
  default     = 4

  validation {
    condition     = var.nodes >= 1
    error_message = "A cluster has at least one member."
  }
}

variable "image" {
  description = "Image of a member, as deploy/Dockerfile builds it."
  type        = string
  default     = "registry.example/pgkeeper:1.2"
}

variable "etcd_hosts" {
  description = "Members of etcd, host:port."
  type        = list(string)
  default     = ["etcd.example:12379"]
}

variable "secrets_dir" {
  description = "Folder on the docker host with the files superuser, replication and rewind: passwords stay out of the state file."
  type        = string
}

resource "docker_network" "cluster" {
  name = "orders"
}

resource "docker_volume" "data" {
  count = var.nodes
  name  = "orders-pg${count.index + 1}"
}

resource "docker_container" "node" {
  count    = var.nodes
  name     = "orders-pg${count.index + 1}"
  hostname = "pg${count.index + 1}"
  image    = var.image
  command  = ["agent", "--container"]
  restart  = "unless-stopped"
  shm_size = 256

  # SIGTERM hands the primary over, then stops the server.
  stop_timeout          = 60
  destroy_grace_seconds = 60

  env = [
    "PGKEEPER_SCOPE=orders",
    "PGKEEPER_NAME=pg${count.index + 1}",
    "PGKEEPER_RESTAPI_LISTEN=0.0.0.0:8008",
    "PGKEEPER_ETCD3_HOSTS=${join(",", var.etcd_hosts)}",
    "PGKEEPER_POSTGRESQL_LISTEN=0.0.0.0:5432",
    "PGKEEPER_POSTGRESQL_DATA_DIR=/var/lib/postgresql/data",
    "PGKEEPER_SUPERUSER_USERNAME=postgres",
    "PGKEEPER_SUPERUSER_PASSWORD_FILE=/run/secrets/pgkeeper/superuser",
    "PGKEEPER_REPLICATION_USERNAME=replicator",
    "PGKEEPER_REPLICATION_PASSWORD_FILE=/run/secrets/pgkeeper/replication",
    "PGKEEPER_REWIND_USERNAME=rewinder",
    "PGKEEPER_REWIND_PASSWORD_FILE=/run/secrets/pgkeeper/rewind",
    "PGKEEPER_POSTGRESQL_PG_HBA=[local all all scram-sha-256, host all all samenet scram-sha-256, host replication replicator samenet scram-sha-256]",
  ]

  networks_advanced {
    name    = docker_network.cluster.name
    aliases = ["node"]
  }

  volumes {
    volume_name    = docker_volume.data[count.index].name
    container_path = "/var/lib/postgresql"
  }

  volumes {
    host_path      = var.secrets_dir
    container_path = "/run/secrets/pgkeeper"
    read_only      = true
  }
}

output "members" {
  value = docker_container.node[*].hostname
}

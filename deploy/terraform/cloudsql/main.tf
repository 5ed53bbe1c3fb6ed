# Cloud SQL: a primary and `replicas` read replicas by count, reached by their public addresses from `clients`. For pgrw in
# probe mode: postgres://app@<output hosts>/app

terraform {
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 6.0"
    }
  }
}

provider "google" {
  project = var.project
  region  = var.region
}

variable "replicas" {
  type    = number
  default = 2
}

variable "project" {
  type = string
}

variable "region" {
  type = string
}

variable "clients" {
  description = "Network that may connect, 203.0.113.0/24."
  type        = string
}

variable "password" {
  type      = string
  sensitive = true
}

resource "google_sql_database_instance" "primary" {
  name             = "demo"
  database_version = "POSTGRES_15"
  region           = var.region

  settings {
    tier              = "db-custom-2-7680"
    availability_type = "REGIONAL"

    backup_configuration {
      enabled                        = true
      point_in_time_recovery_enabled = true
    }

    ip_configuration {
      ipv4_enabled = true
      ssl_mode     = "ENCRYPTED_ONLY"

      authorized_networks {
        name  = "clients"
        value = var.clients
      }
    }
  }
}

resource "google_sql_database" "app" {
  name     = "app"
  instance = google_sql_database_instance.primary.name
}

resource "google_sql_user" "app" {
  name     = "app"
  instance = google_sql_database_instance.primary.name
  password = var.password
}

resource "google_sql_database_instance" "replica" {
  count                = var.replicas
  name                 = "demo-replica-${count.index + 1}"
  master_instance_name = google_sql_database_instance.primary.name
  database_version     = google_sql_database_instance.primary.database_version
  region               = var.region
  # Fewer replicas must be possible; the primary stays protected.
  deletion_protection = false

  settings {
    tier = "db-custom-2-7680"

    ip_configuration {
      ipv4_enabled = true
      ssl_mode     = "ENCRYPTED_ONLY"

      authorized_networks {
        name  = "clients"
        value = var.clients
      }
    }
  }
}

output "hosts" {
  value = join(",", concat([google_sql_database_instance.primary.public_ip_address], google_sql_database_instance.replica[*].public_ip_address))
}

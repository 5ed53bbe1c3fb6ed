# Cloud SQL: a primary and `replicas` read replicas by count. For pgrw in probe mode: postgres://<output hosts>/shop

variable "replicas" {
  type    = number
  default = 3
}

variable "region" {
  type = string
}

resource "google_sql_database_instance" "primary" {
  name             = "orders"
  database_version = "POSTGRES_15"
  region           = var.region

  settings {
    tier              = "db-custom-2-7680"
    availability_type = "REGIONAL"

    backup_configuration {
      enabled                        = true
      point_in_time_recovery_enabled = true
    }
  }
}

resource "google_sql_database_instance" "replica" {
  count                = var.replicas
  name                 = "orders-replica-${count.index + 1}"
  master_instance_name = google_sql_database_instance.primary.name
  database_version     = google_sql_database_instance.primary.database_version
  region               = var.region

  settings {
    tier = "db-custom-2-7680"
  }
}

output "hosts" {
  value = join(",", concat([google_sql_database_instance.primary.private_ip_address], google_sql_database_instance.replica[*].private_ip_address))
}

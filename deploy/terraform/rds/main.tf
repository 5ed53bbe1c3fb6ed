# Amazon RDS: a primary and `replicas` read replicas by count, in the region's default network, reached from `clients` in
# it. RDS fails over by itself (multi_az) and gives no lag to route by; pgrw in probe mode asks each server whether it is in
# recovery: postgres://app@<output hosts>/app

terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.0"
    }
  }
}

provider "aws" {
  region = var.region
}

variable "replicas" {
  type    = number
  default = 2
}

variable "region" {
  type = string
}

variable "clients" {
  description = "Network that may connect, 172.31.0.0/16."
  type        = string
}

variable "password" {
  type      = string
  sensitive = true
}

resource "aws_security_group" "clients" {
  name = "demo-clients"

  ingress {
    protocol    = "tcp"
    from_port   = 5432
    to_port     = 5432
    cidr_blocks = [var.clients]
  }
}

resource "aws_db_instance" "primary" {
  identifier             = "demo"
  engine                 = "postgres"
  engine_version         = "15"
  instance_class         = "db.t4g.medium"
  allocated_storage      = 50
  db_name                = "app"
  username               = "app"
  password               = var.password
  multi_az               = true
  vpc_security_group_ids = [aws_security_group.clients.id]
  # A source of replicas must keep backups.
  backup_retention_period   = 7
  final_snapshot_identifier = "demo-final"
}

resource "aws_db_instance" "replica" {
  count                  = var.replicas
  identifier             = "demo-replica-${count.index + 1}"
  replicate_source_db    = aws_db_instance.primary.identifier
  instance_class         = aws_db_instance.primary.instance_class
  vpc_security_group_ids = [aws_security_group.clients.id]
  skip_final_snapshot    = true
}

output "hosts" {
  value = join(",", concat([aws_db_instance.primary.endpoint], aws_db_instance.replica[*].endpoint))
}

package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, syscall.SIGTERM, syscall.SIGINT)
	fmt.Println("@name@ runs")
	// The work goes here. A service that ends is started again.
	<-ends
}

// A small server with two planted leaks: goroutines that wait for ever, and requests that are kept.
// It prints "ready <port>", and answers "goroutines N", "grow BYTES", "drop" and "quit" on its input.
package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
)

var kept [][]byte

func leak(never chan int) {
	<-never
}

func remember(size int) {
	for ; size > 0; size -= 64 << 10 {
		kept = append(kept, make([]byte, 64<<10))
	}
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go http.Serve(listener, nil)
	fmt.Printf("ready %d\n", listener.Addr().(*net.TCPAddr).Port)
	never := make(chan int)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var word string
		var count int
		fmt.Sscan(lines.Text(), &word, &count)
		switch word {
		case "goroutines":
			for ; count > 0; count-- {
				go leak(never)
			}
		case "grow":
			remember(count)
		case "drop":
			kept = nil
		default:
			return
		}
		fmt.Println("grown")
	}
}
